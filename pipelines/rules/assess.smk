"""What a trained run is worth: likelihood, synthetic cochleae, their shape, copies of training ears, one page."""


rule evaluate:
    input:
        curves=f"{OUT}/runs/{{run}}/samples/curves.png",
    output:
        f"{OUT}/runs/{{run}}/evaluation.json",
    log:
        f"{OUT}/logs/evaluate/{{run}}.log",
    params:
        run=lambda wildcards, input: dirname(dirname(input.curves)),
        options=options("evaluate"),
    group:
        "assess"
    shell:
        "medlangevin evaluate {params.run:q} {params.options} > {log:q} 2>&1"


# generation.json is not an output: without it generate would refuse the folder of an interrupted call.
rule generate:
    input:
        curves=f"{OUT}/runs/{{run}}/samples/curves.png",
    output:
        report(f"{OUT}/synthetic/{{run}}/montage.png", category="Runs", subcategory="{run}"),
    log:
        f"{OUT}/logs/generate/{{run}}.log",
    params:
        run=lambda wildcards, input: dirname(dirname(input.curves)),
        out=lambda wildcards, output: dirname(output[0]),
        options=options("generate"),
    group:
        "assess"
    shell:
        "medlangevin generate {params.run:q} --out {params.out:q} {params.options} > {log:q} 2>&1"


rule shape:
    input:
        montage=f"{OUT}/synthetic/{{run}}/montage.png",
        data=f"{CROPS}/dataset.json",
    output:
        f"{OUT}/synthetic/{{run}}/shape/comparison.tsv",
        report(f"{OUT}/synthetic/{{run}}/shape/comparison.png", category="Runs", subcategory="{run}"),
    log:
        f"{OUT}/logs/shape/{{run}}.log",
    params:
        synthetic=lambda wildcards, input: dirname(input.montage),
        crops=lambda wildcards, input: dirname(input.data),
        options=options("shape"),
    threads: 2
    group:
        "assess"
    shell:
        "items_may_fail {log:q} medlangevin shape {params.synthetic:q} --compare {params.crops:q}"
        " --workers {threads} {params.options}"


rule audit:
    input:
        curves=f"{OUT}/runs/{{run}}/samples/curves.png",
        montage=f"{OUT}/synthetic/{{run}}/montage.png",
    output:
        f"{OUT}/synthetic/{{run}}/audit/audit.json",
        f"{OUT}/synthetic/{{run}}/audit/nearest_pairs.png",
    log:
        f"{OUT}/logs/audit/{{run}}.log",
    params:
        run=lambda wildcards, input: dirname(dirname(input.curves)),
        synthetic=lambda wildcards, input: dirname(input.montage),
        options=options("audit"),
    group:
        "assess"
    shell:
        "medlangevin audit {params.run:q} --synthetic {params.synthetic:q} {params.options} > {log:q} 2>&1"


rule report:
    input:
        evaluation=f"{OUT}/runs/{{run}}/evaluation.json",
        montage=f"{OUT}/synthetic/{{run}}/montage.png",
        shape=f"{OUT}/synthetic/{{run}}/shape/comparison.tsv",
        audit=f"{OUT}/synthetic/{{run}}/audit/audit.json",
    output:
        f"{OUT}/reports/{{run}}.html",
    log:
        f"{OUT}/logs/report/{{run}}.log",
    params:
        run=lambda wildcards, input: dirname(input.evaluation),
        synthetic=lambda wildcards, input: dirname(input.montage),
        options=options("report"),
    group:
        "assess"
    shell:
        "medlangevin report {params.run:q} --synthetic {params.synthetic:q} --out {output:q} {params.options}"
        " > {log:q} 2>&1"
