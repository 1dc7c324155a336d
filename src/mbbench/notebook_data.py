"""The five rows of the notebook that mbbench began as, and where its full-batch run started; for both wings."""

X = ((73, 80, 75), (93, 88, 93), (89, 91, 90), (96, 98, 100), (73, 66, 70))
"""Three scores a row."""
Y = ((152,), (185,), (180,), (196,), (142,))
"""The final score."""
LR = 1e-5
START = (0.5312312245, 0.4759868085, -0.1784405410, -0.4235675633)
"""Three weights and the bias before the first update: torch's generator, seeded 1, 49,592 words into its stream."""
