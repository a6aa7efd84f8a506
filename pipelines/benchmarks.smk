"""A table of the 2D benchmarks, a job for each cell.

snakemake -s pipelines/benchmarks.smk --profile pipelines/profiles/local --configfile configs/pipelines/benchmarks.yaml
"""


include: "rules/common.smk"


settings("schemas/benchmarks.yaml", example="configs/pipelines/benchmarks.yaml")


include: "rules/table.smk"
include: "rules/cells.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        f"{OUT}/table/table.md",
