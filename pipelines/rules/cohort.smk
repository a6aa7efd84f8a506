"""Where things are, and the runs of the grid: one for each model and seed."""

OUT = config["out"].rstrip("/")
CROPS = f"{OUT}/cochlea"
SHARES = config["shares"]
RUNS = {
    f"{model}-seed{seed}": {"config": row["config"], "seed": seed}
    for model, row in config["models"].items()
    for seed in row["seeds"]
}


wildcard_constraints:
    run="|".join(RUNS),
    share=r"\d+",
