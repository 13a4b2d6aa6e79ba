# Two images: `api` answers requests and holds no torch, `worker` trains.
#
#   docker build --target api -t training-lab-api .
#   docker build --target worker -t training-lab-worker .
#
# REVISION: the commit that /version reports.  PIP_ARGS: extra arguments for every pip, for instance another index.

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

# The dependencies alone, one list each: what is installed from them stays cached until a list itself changes.
FROM base AS lists
COPY pyproject.toml ./
RUN python -c "import pathlib, tomllib; \
project = tomllib.loads(pathlib.Path('pyproject.toml').read_text())['project']; \
extras = project['optional-dependencies']; \
pathlib.Path('service.txt').write_text('\n'.join(project['dependencies'] + extras['postgres'])); \
pathlib.Path('lab.txt').write_text('\n'.join(extras['lab']))"

FROM base AS wheel
ARG PIP_ARGS=
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY worker worker
COPY lab_models lab_models
COPY migrations migrations
RUN pip wheel --no-deps --wheel-dir /wheels $PIP_ARGS .

FROM base AS service
ARG PIP_ARGS=
COPY --from=lists /home/lab/service.txt /tmp/
RUN pip install $PIP_ARGS --requirement /tmp/service.txt

FROM service AS api
COPY --from=wheel /wheels /tmp/wheels
RUN pip install $PIP_ARGS /tmp/wheels/*.whl
ARG REVISION=
ENV LAB_REVISION=$REVISION
USER 10001:10001
EXPOSE 8000
CMD ["lab", "api", "--host", "0.0.0.0", "--port", "8000"]

FROM service AS worker
COPY --from=lists /home/lab/lab.txt /tmp/
RUN pip install $PIP_ARGS --requirement /tmp/lab.txt
COPY --from=wheel /wheels /tmp/wheels
RUN pip install $PIP_ARGS "$(echo /tmp/wheels/*.whl)[lab]"
ARG REVISION=
ENV LAB_REVISION=$REVISION
USER 10001:10001
CMD ["lab", "worker"]
