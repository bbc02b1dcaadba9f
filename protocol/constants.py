"""Numbers on which all participants must agree.

Nothing here can be set from outside: no environment, no settings. A change of any value
changes bytes, scores or figures, so it comes with a new version and a line under *Protocol*
in the changelog.
"""

PROTOCOL_VERSION = 1
"""Version in every message. Changing breaks: every signature and vector."""

SAMPLE_COUNT = 64
"""Prompts re-scored per report; catches 5 % skipped work with 96.6 % (hypergeometric, of 1,000).
Changing breaks: detection rates, thresholds."""

BEACON_DELAY_BLOCKS = 3
"""Blocks after the commitment deadline whose hash picks the sample. Changing breaks: samples."""

ENVELOPE_MAX_BYTES = 4_096
"""What a signature adds to a message at most (bytes)."""
COMMITMENT_MAX_BYTES = 8_192
"""Largest signed commitment (bytes)."""
PROFILE_MAX_BYTES = 65_536
"""Largest signed profile (bytes): 16 devices, 256 models."""
REPORT_MAX_BYTES = 300_000
"""Largest report (bytes): 1,000 leaves of 200 bytes and the evidence."""
LOG_ENTRY_MAX_BYTES = 1_048_576
"""Largest signed log entry (bytes): the record of a round of 256 miners in as many cells, each
with the longest names that the schema allows."""

TRACE_RATE_HZ = 10
"""Evidence rows per second."""
SYSTEMATIC_PPM = 50_000
"""Sensor gain uncertainty of GPU boards, k = 1: 5 % (arXiv 2312.02741, more than 70 boards)."""

EMA_NEW_PPM = 100_000
"""Share of a new report in the average score: 0.1, half-life 6.6 rounds.
Changing breaks: weights of two validators no longer agree."""
PRIOR_SD_PPM = 80_000
"""Prior between-miner standard deviation of log energy: 8 % (verification report, section 6)."""
PRIOR_WEIGHT = 3
"""Weight of the prior, in operators."""
MAD_FLOOR_PPM = 30_000
"""Least standard deviation that a cohort is credited with: 3 %."""
MODEL_UNCERTAINTY_PPM = 20_000
"""Added in quadrature to every distance: 2 %."""
PLATEAU_Z = 2
"""Full consistency up to this |z|, none from twice of it."""
SCREEN_MADS = 3
"""Operators further than this many MAD standard deviations from the median are screened."""
SCREEN_SHARE_PPM = 200_000
"""Above 20 % screened the median is used and the cell is contested."""
TARGET_OPERATORS = 5
"""Operators that a cell should have; fewer earn a coverage bonus."""
COVERAGE_MAX_PPM = 2_000_000
"""Largest coverage bonus: 2."""
TARGET_SCORE_PPM = 1_000_000
"""Sum of average scores at which the whole emission is earned; the rest is burned."""
EXCLUSION_ROUNDS = 100
"""Rounds without pay after proven fraud."""
