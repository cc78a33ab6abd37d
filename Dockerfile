# The image of the server. docker-compose.yml builds it and runs it beside PostgreSQL and Redis.

# The dashboard: files that the program carries inside.
FROM node:22-bookworm-slim AS web
WORKDIR /src/web
COPY openapi.yaml /src/
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --ignore-scripts
COPY web ./
RUN npm run build

FROM golang:1.26-bookworm AS build
WORKDIR /src
# The C flags silence go-nvml's headers. The server loads the GPU driver's library when it starts, hence cgo and glibc.
ENV CGO_ENABLED=1 CGO_CFLAGS="-O2 -g -Wno-deprecated-declarations"
COPY . .
COPY --from=web /src/web/dist/app web/dist/app
ARG VERSION=0.1.0
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/hsi ./cmd/hsi

# The same Debian as above: the binary needs its glibc.
FROM debian:bookworm-slim
# ffmpeg takes the frames out of videos and is most of the image; without it videos are left out with that reason.
ARG PACKAGES="ca-certificates ffmpeg tzdata"
RUN apt-get update && \
    apt-get install --yes --no-install-recommends $PACKAGES && \
    rm -rf /var/lib/apt/lists/*
RUN install -d -m 0755 /cameras && \
    install -d -m 0750 -o 10001 -g 10001 /data /media /media/thumbnails /media/clips
COPY --from=build /out/hsi /usr/local/bin/hsi
ENV API_HOST=0.0.0.0 API_PORT=8000 API_KEY_ENABLED=true \
    DATA_DIR=/data FOSCAM_BASE_PATH=/cameras VIDEO_THUMBNAILS_DIR=/media/thumbnails CLIPS_DIRECTORY=/media/clips
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/media"]
EXPOSE 8000
# Liveness: whether the process answers. What it depends on never makes it unhealthy, since a restart would not mend that.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["hsi", "probe"]
ENTRYPOINT ["hsi"]
CMD ["serve"]
