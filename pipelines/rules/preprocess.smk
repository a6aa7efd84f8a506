"""Scans to aligned crops. A scan that gives no crop stops nothing here: it is listed, and the gate decides."""


localrules:
    registration_pictures,


rule preprocess_share:
    input:
        raw=config["raw"],
    output:
        touch(f"{OUT}/shares/{{share}}-of-{SHARES}.done"),
    log:
        f"{OUT}/logs/preprocess/share-{{share}}-of-{SHARES}.log",
    params:
        shard=lambda wildcards: f"{wildcards.share}/{SHARES}",
        crops=CROPS,
        options=options("preprocess"),
    threads: 2
    resources:
        mem_mb=lambda wildcards, threads, attempt: 3000 * threads * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    retries: 2
    group:
        "preprocess"
    shell:
        "items_may_fail {log:q} medlangevin preprocess --raw {input.raw:q} --out {params.crops:q}"
        " --shard {params.shard} --workers {threads} {params.options}"


# status.json is not an output here: it is what preprocess goes on from, and outputs are removed before a rule runs again.
rule preprocess:
    input:
        expand(f"{OUT}/shares/{{share}}-of-{SHARES}.done", share=range(1, SHARES + 1)),
    output:
        f"{CROPS}/dataset.json",
        f"{CROPS}/participants.tsv",
        f"{CROPS}/failures.tsv",
        f"{CROPS}/qc/index.html",
    log:
        f"{OUT}/logs/preprocess/merge.log",
    params:
        crops=lambda wildcards, output: dirname(output[0]),
    shell:
        "items_may_fail {log:q} medlangevin preprocess --merge --out {params.crops:q}"


# Copies, as a folder that is an output is emptied before its rule runs again.
rule registration_pictures:
    input:
        f"{CROPS}/qc/index.html",
    output:
        report(
            directory(f"{OUT}/pictures/registration"),
            patterns=["{ear}.png"],
            category="Registration",
            labels={"ear": "{ear}"},
        ),
    log:
        f"{OUT}/logs/preprocess/pictures.log",
    params:
        folder=lambda wildcards, input: dirname(input[0]),
    shell:
        "mkdir -p {output:q} && cp {params.folder:q}/*.png {output:q} 2> {log:q}"
