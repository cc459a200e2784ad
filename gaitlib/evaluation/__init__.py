"""What is measured. Here stands what tables need to know without torch."""

#: Shares of false acceptances at which true ones are stated: of pairs, and of probes of people who are not enrolled.
FAR, OPEN_FAR = (0.01, 0.001), (0.1, 0.01)
