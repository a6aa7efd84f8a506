"""The last word: everything else is made by now, and nothing that failed on the way is passed over."""


localrules:
    gate,


rule gate:
    input:
        expand(f"{OUT}/reports/{{run}}.html", run=RUNS),
        shapes=expand(f"{OUT}/synthetic/{{run}}/shape/comparison.tsv", run=RUNS),
        failures=f"{CROPS}/failures.tsv",
    output:
        f"{OUT}/gate.txt",
    log:
        f"{OUT}/logs/gate.log",
    params:
        crops=lambda wildcards, input: dirname(input.failures),
        shapes=lambda wildcards, input: [dirname(table) for table in input.shapes],
        allowed=config["allowed_failures"],
    script:
        "../scripts/gate.py"
