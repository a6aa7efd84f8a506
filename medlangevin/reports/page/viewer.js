// Shows one of the volumes that the page holds; every control is an element that the keyboard reaches.
(async () => {
  const data = JSON.parse(document.getElementById("volumes").textContent);
  const { Niivue, NVImage, SHOW_RENDER } = window.niivue;
  const shown = document.getElementById("shown"), list = document.getElementById("volume");
  const fail = text => { shown.textContent = "The viewer cannot start: " + text; };
  const canvas = document.getElementById("canvas");
  if (!document.createElement("canvas").getContext("webgl2")) { fail("this browser has no WebGL 2."); return; }
  const nv = new Niivue({ isColorbar: false, crosshairWidth: 0.05, crosshairWidthUnit: "mm", backColor: [0, 0, 0, 1], logLevel: "error", dragAndDropEnabled: false,
    multiplanarShowRender: SHOW_RENDER.ALWAYS });
  await nv.attachToCanvas(canvas);
  nv.setClipPlane([0, 270, 0]);  // cut open: from outside, a crop is a block of bone
  const layouts = { planes: nv.sliceTypeMultiplanar, axial: nv.sliceTypeAxial, coronal: nv.sliceTypeCoronal, sagittal: nv.sliceTypeSagittal, render: nv.sliceTypeRender };
  let last = 0;
  async function show(volume) {
    const mine = ++last;  // a slider moves faster than volumes load: only the last one asked for is shown
    const image = await NVImage.loadFromBase64({
      base64: volume.nifti, name: volume.name + ".nii.gz", colormap: "gray", cal_min: data.window[0], cal_max: data.window[1] });
    if (mine !== last) return;
    while (nv.volumes.length) nv.removeVolume(nv.volumes[0]);
    nv.addVolume(image);
    shown.textContent = volume.label;
    canvas.dataset.shown = volume.name;
  }
  const showListed = () => show(data.volumes[list.selectedIndex]);
  const step = by => {
    list.selectedIndex = (list.selectedIndex + by + list.length) % list.length;
    showListed();
  };
  list.addEventListener("change", showListed);
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  document.getElementById("layout").addEventListener("change", event => nv.setSliceType(layouts[event.target.value]));
  document.querySelectorAll("input[data-direction]").forEach(slider => slider.addEventListener("input", () => {
    const volume = data.directions[Number(slider.dataset.direction)].volumes[Number(slider.value)];
    slider.setAttribute("aria-valuetext", volume.label);
    list.selectedIndex = -1;
    show(volume);
  }));
  nv.setSliceType(nv.sliceTypeMultiplanar);
  await showListed();
})().catch(error => { document.getElementById("shown").textContent = "The viewer cannot start: " + error.message; });
