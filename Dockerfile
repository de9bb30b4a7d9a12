# The appliance: Node, the two bundles, nft and ip. The same image serves `outcall watch`, the guard and `ca-init`.
#   docker build -t outcall .

FROM node:24-bookworm-slim AS bundles
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts
COPY scripts/build.ts scripts/
COPY src src
RUN node scripts/build.ts

FROM node:24-bookworm-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends nftables iproute2 libmimalloc2.0 \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
  # Slim images have no list of protocols, and nft then reads rules back with numbers where names were written.
  && printf 'icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\n' >/etc/protocols
# What agents send is handled by one user, the CA key is held by another; neither is root, and neither has a capability.
RUN useradd --uid 10021 --user-group --no-create-home --shell /usr/sbin/nologin outcall-worker \
  && useradd --uid 10022 --user-group --no-create-home --shell /usr/sbin/nologin outcall-signer \
  && install -d /etc/outcall/rules /etc/ssl/certs \
  && install -d -m 0700 /var/lib/outcall \
  # A new volume takes its owner from the folder that it is mounted on.
  && install -d -o outcall-signer -g outcall-signer /etc/outcall/ca /etc/outcall/trust
WORKDIR /opt/outcall
COPY --from=bundles /src/dist dist
COPY --chmod=755 images/appliance/ ./
# Code compiled ahead halves each start; a read-only container could not keep what it compiles.
RUN ln -s /opt/outcall/outcall /opt/outcall/outcalld /usr/local/bin/ && ./compile-ahead
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s --retries=3 CMD ["/opt/outcall/healthy"]
ENTRYPOINT ["/opt/outcall/outcalld"]
