# The operator alone in an empty image: one static binary, CA certificates, a user that is nobody.
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t ghcr.io/pipekick/pipekick .
#
# Each platform is built on itself (by emulation where it must be): no cross compiler to keep.

ARG RUST=1.95
ARG ALPINE=3.22

FROM rust:${RUST}-alpine${ALPINE} AS build
# ring is built with a C compiler.
RUN apk add --no-cache musl-dev gcc ca-certificates
# Writes the names of all crates into the binary: in an empty image nothing else tells a scanner what is in it.
ARG AUDITABLE=0.7.7
RUN cargo install --locked --version ${AUDITABLE} cargo-auditable
WORKDIR /src
COPY . .
# Without paths of this machine, and with the time of the commit where the builder gives it, two builds are equal.
ENV RUSTFLAGS="--remap-path-prefix=/src=pipekick --remap-path-prefix=/usr/local/cargo=cargo"
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo auditable build --release --locked --package pipekick --bin pipekick \
    && cp target/release/pipekick /pipekick

FROM scratch
LABEL org.opencontainers.image.title="pipekick" \
      org.opencontainers.image.description="Kicks off GitLab CI pipelines from Kubernetes: once, on time, and tells how it went" \
      org.opencontainers.image.source="https://github.com/pipekick/pipekick" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /pipekick /pipekick
# A number, so that runAsNonRoot can be checked without looking into the image.
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/pipekick"]
CMD ["run"]
