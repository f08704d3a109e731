# Tandem for the CPU:
#   docker build -t tandem .
#   docker run -v "$PWD/results:/tandem/results" -v tandem-cache:/cache tandem --config=mazero_seq --env-config=mpe
# For a CUDA machine. JAX's CUDA 13 wheels bring their libraries; the host needs NVIDIA's driver (580 or newer) and its
# container toolkit:
#   docker build --build-arg CUDA=1 -t tandem-cuda .
#   docker run --gpus all -v "$PWD/results:/tandem/results" -v tandem-cache:/cache tandem-cuda --config=mazero_seq --env-config=mpe
FROM python:3.11-slim

ARG CUDA=0
WORKDIR /tandem
COPY requirements.lock requirements-cuda.lock ./
RUN case "$CUDA" in \
        0) locks="--requirement requirements.lock" ;; \
        1) locks="--requirement requirements.lock --requirement requirements-cuda.lock" ;; \
        *) echo "CUDA=$CUDA: expected 0 or 1" >&2; exit 2 ;; \
    esac && pip install --no-cache-dir --require-hashes $locks

COPY . .
ENV PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/cache
VOLUME ["/tandem/results", "/cache"]
ENTRYPOINT ["python", "src/main.py"]
CMD ["--help"]
