"""A job for each cell, and the table of all of them. What is measured is measured once, whatever changes here."""


rule cell:
    # The program itself refuses a table whose settings are not those that a cell was measured with.
    input:
        table=ancient(TABLE),
    output:
        update(f"{OUT}/table/cells/{{cell}}.json"),
    log:
        f"{OUT}/logs/{{cell}}.log",
    params:
        out=lambda wildcards, output: dirname(dirname(output[0])),
        options=options("benchmark"),
    threads: 4
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=1440,
    retries: 3
    shell:
        "medlangevin benchmark {input.table:q} --out {params.out:q} --only {wildcards.cell} {params.options}"
        " > {log:q} 2>&1"


rule table:
    input:
        expand(f"{OUT}/table/cells/{{cell}}.json", cell=CELLS),
        table=TABLE,
    output:
        f"{OUT}/table/table.md",
        f"{OUT}/table/table.csv",
    log:
        f"{OUT}/logs/table.log",
    params:
        out=lambda wildcards, output: dirname(output[0]),
        options=options("benchmark"),
    shell:
        "medlangevin benchmark {input.table:q} --out {params.out:q} {params.options} > {log:q} 2>&1"
