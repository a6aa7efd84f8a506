"""One training for each model and seed. Tried again, it goes on from its last checkpoint and ends bit for bit the same."""


rule train:
    input:
        config=lambda wildcards: RUNS[wildcards.run]["config"],
        data=f"{CROPS}/dataset.json",
    # Written at the end. Checkpoints are not outputs: those of a failed rule are removed, and with them the way to go on.
    output:
        report(f"{OUT}/runs/{{run}}/samples/curves.png", category="Runs", subcategory="{run}"),
        report(f"{OUT}/runs/{{run}}/samples/reconstructions.png", category="Runs", subcategory="{run}"),
        report(f"{OUT}/runs/{{run}}/samples/samples.png", category="Runs", subcategory="{run}"),
    log:
        f"{OUT}/logs/train/{{run}}.log",
    params:
        runs=lambda wildcards, output: dirname(dirname(dirname(output[0]))),
        crops=lambda wildcards, input: dirname(input.data),
        seed=lambda wildcards: RUNS[wildcards.run]["seed"],
        options=options("train"),
    threads: 4
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=1440,
    retries: 3
    # Snakemake makes folders for the outputs; train would refuse them, as they are not those of a run.
    shell:
        "rmdir {params.runs:q}/{wildcards.run}/samples {params.runs:q}/{wildcards.run} 2> /dev/null || true; "
        "medlangevin train {input.config:q} --resume"
        " --set name={wildcards.run} --set output_dir={params.runs:q} --set seed={params.seed}"
        " --set data.root={params.crops:q} {params.options} > {log:q} 2>&1"
