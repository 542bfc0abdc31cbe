FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY . .
RUN npm ci && npm prune --omit=dev --ignore-scripts

FROM node:20-bookworm-slim
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 9100
# Inside a container 127.0.0.1 is nobody's, so it listens on all addresses; compose.yaml publishes the port on the host's
# loopback only. Before you publish it elsewhere, say who may come (docs/accounts.md) and take the last variable away.
ENV TROUPE_HOST=0.0.0.0 TROUPE_DATA=/data TROUPE_ALLOW_PUBLIC_ANONYMOUS=true
HEALTHCHECK CMD ["node", "-e", "fetch('http://127.0.0.1:9100/ready').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# The server closes in order within 10 s of SIGTERM; the supervisor in front of it passes the signal on.
CMD ["node", "dist/main.js"]
