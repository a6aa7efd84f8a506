"""Scans to report pages: preprocess in shares, a grid of models and seeds, and for each of them figures, samples, shape.

snakemake -s pipelines/cochlea.smk --profile pipelines/profiles/local --configfile configs/pipelines/cochlea.yaml
"""


include: "rules/common.smk"


settings("schemas/cochlea.yaml", example="configs/pipelines/cochlea.yaml")
if not Path(config["raw"]).exists():
    raise WorkflowError(f"raw: {config['raw']} does not exist; name the folder of the scans in the settings")


include: "rules/cohort.smk"
include: "rules/preprocess.smk"
include: "rules/train.smk"
include: "rules/assess.smk"
include: "rules/gate.smk"


localrules:
    all,


# All products by name: of what is not asked for, Snakemake does not notice that it is missing.
rule all:
    default_target: True
    input:
        rules.gate.output,
        rules.preprocess.output,
        rules.registration_pictures.output,
        expand(rules.train.output, run=RUNS),
        expand(rules.evaluate.output, run=RUNS),
        expand(rules.generate.output, run=RUNS),
        expand(rules.shape.output, run=RUNS),
        expand(rules.audit.output, run=RUNS),
        expand(rules.report.output, run=RUNS),


onerror:
    missing = [run for run in RUNS if not Path(f"{OUT}/reports/{run}.html").is_file()]
    if missing:
        print(f"without a report: {', '.join(missing)}; logs in {OUT}/logs. The same command goes on.", file=sys.stderr)
