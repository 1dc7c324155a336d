"""What the server of worker processes does before it forks any: import torch and all that a first cell would wait for.

Easy to get wrong: it must run no tensor operation on several threads (a fork after a parallel region hangs libgomp), and
the first optimizer of a process imports some 800 modules (1.9 s), so one of each kind is built here.
"""

import gc
import signal

# Ctrl-C is for the parent, which ends the server: before the long imports, or each would end in a page of traceback.
signal.signal(signal.SIGINT, signal.SIG_IGN)

import torch  # noqa: E402

import mbbench.measuring.builtin  # noqa: E402
import mbbench.measuring.worker  # noqa: E402, F401  imported for the forked children

for _make in (torch.optim.SGD, torch.optim.Adam):
    _make([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
# Frozen, the imported modules are passed over by every later collection in a child (100 ms each otherwise).
gc.collect()
gc.freeze()
