# Two images: `api` answers requests and holds no torch, `worker` trains.
#
#   docker build --target api -t training-lab-api .
#   docker build --target worker -t training-lab-worker .
#
# REVISION: the commit that /version reports.  PIP_ARGS: extra arguments for every pip, for instance another index.
# What is installed is named in requirements/ by version and hash (`make lock`); `make digests` names the base image by its digest too.

FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
RUN groupadd --gid 10001 lab \
 && useradd --uid 10001 --gid lab --create-home --shell /usr/sbin/nologin lab \
 && install --directory --mode 0700 --owner lab --group lab /data
# The root file system may be read-only: what a process writes goes to the volume /data or to /tmp.
ENV LAB_HOME=/data \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /home/lab

FROM base AS wheel
ARG PIP_ARGS=
COPY requirements/build.txt /tmp/
RUN pip install $PIP_ARGS --require-hashes --requirement /tmp/build.txt
COPY pyproject.toml setup.py README.md LICENSE ./
COPY app app
COPY worker worker
COPY lab_models lab_models
COPY migrations migrations
COPY client client
COPY docs docs
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels $PIP_ARGS . ./client

# The dependencies alone: what is installed from a list stays cached until the list itself changes.
FROM base AS service
ARG PIP_ARGS=
COPY requirements/service.txt /tmp/
RUN pip install $PIP_ARGS --require-hashes --requirement /tmp/service.txt

FROM service AS api
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-deps /tmp/wheels/*.whl && pip check
ARG REVISION=
ENV LAB_REVISION=$REVISION
USER 10001:10001
EXPOSE 8000
CMD ["lab", "api", "--host", "0.0.0.0", "--port", "8000"]

FROM service AS worker
COPY requirements/worker.txt /tmp/
RUN pip install $PIP_ARGS --require-hashes --requirement /tmp/worker.txt
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-deps /tmp/wheels/*.whl && pip check
ARG REVISION=
ENV LAB_REVISION=$REVISION
USER 10001:10001
CMD ["lab", "worker"]
