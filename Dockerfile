# Tandem on a CUDA machine. JAX's CUDA 13 wheels bring their libraries; the host needs NVIDIA's driver (580 or newer) and
# its container toolkit:
#   docker build -t tandem .
#   docker run --gpus all -v "$PWD/results:/tandem/results" -v tandem-cache:/cache tandem --config=mazero_seq --env-config=mpe
FROM python:3.11-slim

WORKDIR /tandem
COPY requirements.lock requirements-cuda.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock -r requirements-cuda.lock

COPY . .
ENV PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/cache
VOLUME ["/tandem/results", "/cache"]
ENTRYPOINT ["python", "src/main.py"]
CMD ["--help"]
