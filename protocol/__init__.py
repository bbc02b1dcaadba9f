"""The agreement: what miners, validators and readers must compute identically.

In the order of a round: a miner serves its `Profile`; the round's first block hash draws the
model and the seed of its nonce chain (`rounds`, `nonce_chain`); it runs the `Workload` and signs
a `Commitment` to the `Report`, over Merkle roots (`merkle`), before the beacon block draws the
sample (`sampling`); then it reveals the `Report`. Each validator signs a `Verdict` on it, sums the
round up in a `RoundRecord`, and signs the `TreeHead` of the log that holds both.

Start with `messages`, then `canonical` and `signing`: how a message becomes bytes, and who stands
for them. Numbers are in `constants`, units in `units`, words in `ids` and `errors`. All of it is
pure but `generation` (runs the model), `subtensor` (the chain), `auth` and the loaders.
"""
