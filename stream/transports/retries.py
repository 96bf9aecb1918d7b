"""Retries at a fixed pause, by stamina, for calls that fail only while something outside is away.

stamina's own log line and counter for each retry are turned off, for the whole process: every retry here is logged under an
event of its own, which docs/reference/logs.md documents.
"""

from __future__ import annotations

from collections.abc import Callable

import stamina

stamina.instrumentation.set_on_retry_hooks(())


def retry_every(
    pause_s: float, should_retry: Callable[[Exception], bool], *, timeout_s: float | None = None
) -> stamina.BoundAsyncRetryingCaller:
    """Gives a function that awaits its first argument with the others, until it returns or raises an error not to retry.

    timeout_s: after this time the last error is raised; None: it tries for ever. Cancelling ends it at once.
    """
    caller = stamina.AsyncRetryingCaller(
        attempts=None, timeout=timeout_s, wait_initial=pause_s, wait_max=pause_s, wait_jitter=0, wait_exp_base=1
    )
    return caller.on(should_retry)
