# The search in a container, without Ray's cluster launcher (cluster.yaml). The packages of requirements.lock are installed
# by `make install`, as everywhere. A GPU needs the NVIDIA container toolkit on the host; CUDA comes with torch.
#   docker build -t vae-search .
#   docker run --gpus all --shm-size 8g -v "$PWD/data:/vae-search/data" -v "$PWD/runs:/vae-search/runs" \
#       vae-search tune search
FROM python:3.11-slim-bookworm

RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /vae-search

COPY Makefile pyproject.toml requirements.lock README.md LICENSE ./
COPY vae vae
COPY evaluation evaluation
COPY tune tune
RUN make install

ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENTRYPOINT [".venv/bin/python", "-m"]
CMD ["tune", "--help"]
