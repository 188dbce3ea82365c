"""Progress of a training: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from precompute.cook.progress import bar_on

_LOSSES = {"loss": "loss", "eval_loss": "held-out loss"}


def shown_on(err: Console) -> Any:
    """A trainer's callback that shows steps and losses."""
    from transformers import TrainerCallback

    bar = bar_on(err, "training")
    task = bar.add_task("", total=None, summary="")

    class Shown(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            bar.update(task, total=state.max_steps)
            bar.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            bar.update(task, completed=state.global_step)

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any
        ) -> None:
            found = logs or {}
            shown = "  ".join(f"{_LOSSES[n]} {found[n]:.3f}" for n in _LOSSES if n in found)
            if not shown:
                return
            bar.update(task, summary=shown)
            if not err.is_terminal:
                done = f"{state.global_step}/{state.max_steps}"
                err.print(f"training {done}  {shown}", highlight=False)

        def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            bar.stop()

    return Shown()
