"""A run on several processes, in float64: ``python ranks.py OUT STEPS DEVICE SET...``.

Recipes have float32 and bf16 only. Here networks and images are float64, so that processes that
agree, agree to rounding. POISON=WHAT,RANK,STEP in the environment makes the "image" or the "loss"
(not its gradient) of one process's step not finite.
"""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path


def environment(rank, ranks, port):
    """torchrun's variables for one of several processes."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    return os.environ | {key: str(value) for key, value in place.items()}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(ranks, *arguments):
    """Start a command in several processes, as torchrun would."""
    port = free_port()
    return [
        subprocess.Popen(
            arguments,
            env=environment(rank, ranks, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(ranks)
    ]


def finish(processes, timeout=120):
    """Each process's exit code, standard output and standard error."""
    told = [process.communicate(timeout=timeout) for process in processes]
    return [
        (process.returncode, out.decode(), err.decode())
        for process, (out, err) in zip(processes, told, strict=True)
    ]


def train_in(ranks, out, steps, *sets, device="cpu"):
    """Train in several processes and return the files of their weights."""
    results = finish(start(ranks, sys.executable, __file__, str(out), str(steps), device, *sets))
    assert [code for code, _, _ in results] == [0] * ranks, results
    return [Path(out) / f"rank{rank}.pt" for rank in range(ranks)]


def poison(method, what, step):
    """Make the image or the loss of the step after ``step`` steps not finite."""
    original, calls = method.loss, []

    def loss(batch, stage, number):
        calls.append(number)
        bad = len(calls) == step + 1
        parts = original(
            replace(batch, image=batch.image * float("nan")) if bad and what == "image" else batch,
            stage,
            number,
        )
        for part in (parts,) if isinstance(parts, dict) else parts:
            yield (
                {name: term + float("inf") for name, term in part.items()}
                if bad and what == "loss"
                else part
            )

    method.loss = loss


def main(out, steps, device, *sets):
    import torch

    from crossview.core.rng import Randomness
    from crossview.recipe.resolve import resolve
    from crossview.runs.prepare import prepare
    from crossview.runs.train import make_job
    from crossview.training.device import place
    from crossview.training.distributed import join
    from crossview.training.loop import train

    world = join()
    recipe = resolve("demo", [*sets, f"training.device={device}"])
    prepared = prepare(recipe, None, world=world)
    torch.manual_seed(Randomness(recipe.training.seed).number("weights"))
    method = recipe.build_method(1).double()
    place(method, prepared.device, 3)
    world.share_batch_norm(method, prepared.device)
    stream, batch = prepared.stream, prepared.stream.batch

    def doubled(*arguments, **options):
        made = batch(*arguments, **options)
        return replace(
            made,
            image=made.image.double(),
            unlabelled=None if made.unlabelled is None else made.unlabelled.double(),
        )

    stream.batch = doubled
    what, rank, step = os.environ.get("POISON", "nothing,-1,0").split(",")
    if world.rank == int(rank):
        poison(method, what, int(step))
    out.mkdir(exist_ok=True)
    job = replace(make_job(out, recipe, prepared, method, world), score=None)
    train(job, max_steps=steps)
    torch.save(
        {name: value.cpu() for name, value in method.state_dict().items()},
        out / f"rank{world.rank}.pt",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
    from crossview.core.processes import leave

    leave(0)  # as the command does: at a plain exit a thread of gloo may end the process by SIGABRT
