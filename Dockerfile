# crossview for a CPU, with the locked versions of all that it needs and every extra for users.
#
#   docker build --tag crossview --build-arg COMMIT="$(git rev-parse HEAD)" .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" crossview check scans
#
# Without TORCH_INDEX pip's own torch is taken, which brings CUDA: several GB more. The address of the
# CPU builds is in the command of PyTorch's installation page for "Pip" and "CPU":
#
#   docker build --tag crossview --build-arg COMMIT="$(git rev-parse HEAD)" --build-arg TORCH_INDEX=ADDRESS .
#
# The image's history shows the address, so it must hold no password.
FROM python:3.11-slim

ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

# As `make setup` does: torch first, outside the lock, because its build depends on the machine.
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$TORCH"

WORKDIR /source
COPY requirements-run.lock ./
# Wheels only: to build a package pip would fetch what it is built with, whose hashes nobody checks.
RUN pip install --no-deps --require-hashes --only-binary :all: --requirement requirements-run.lock

COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-deps --no-build-isolation . && rm -rf /source

RUN useradd --create-home crossview && mkdir /work && chown crossview /work
# A user of another number, as --user gives, has no home of its own.
ENV HOME=/tmp
# The commit that runs record, since the image holds no history. Named last: a change of it installs
# nothing again.
ARG COMMIT=
ENV CROSSVIEW_COMMIT=$COMMIT
USER crossview
WORKDIR /work
ENTRYPOINT ["crossview"]
CMD ["--help"]
