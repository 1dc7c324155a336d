"""Two trees of one project on one machine in the same minutes: which benchmarks did a commit change?"""
