# wsl on the CPU. The default command runs the demo into /work/wsl-demo:
#   docker build -t wsl . && docker run --rm -v "$PWD:/work" wsl
FROM python:3.12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml README.md LICENSE /src/
COPY wsl /src/wsl
RUN pip install --no-cache-dir /src
WORKDIR /work
ENTRYPOINT ["wsl"]
CMD ["demo"]
