"""Decides what is true and what it is worth.

`round` and `settlement` tell the story of one round over `ports`. `checks`, `physics`, `hardware`,
`verdicts`, `cohorts`, `scoring`, `weights` and `audit` are pure: rules that a reader can hold
against the protocol. `proof`, `rescoring`, `miners`, `store`, `log` and `server` are adapters,
`follower` keeps rounds going, and `cli` wires it all.
"""
