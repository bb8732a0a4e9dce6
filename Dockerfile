# syntax=docker/dockerfile:1
# docker build -t meshgate .      The image runs /etc/meshgate/meshgate.yaml: mount your own over it.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# The same list that scripts/run installs from.
COPY scripts/packages.txt scripts/packages.txt
RUN apt-get update \
    && apt-get install -y --no-install-recommends $(awk '$1 == "build" { print $2 }' scripts/packages.txt) \
    && rm -rf /var/lib/apt/lists/*
# The compiler of the image, whatever rust-toolchain.toml says: it would also fetch the lint and format tools.
ENV RUSTUP_TOOLCHAIN=$RUST_VERSION
COPY . .
# Downloads and compiled dependencies stay in cache mounts; the binary is copied out, because the mount is not in the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --package meshgate --release --locked \
    && cp target/release/meshgate /usr/local/bin/meshgate

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/meshgate /usr/local/bin/meshgate
COPY config/docker.yaml /etc/meshgate/meshgate.yaml
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
# HTTP and WebSocket, admin
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["meshgate", "healthcheck"]
ENTRYPOINT ["meshgate"]
CMD ["serve", "--config", "/etc/meshgate/meshgate.yaml"]
