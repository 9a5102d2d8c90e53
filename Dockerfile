# The worker alone in an image: static, without a shell, not as root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/latchwork/latchwork/internal/cli.stamp=${VERSION}" -o /latchwork .

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /latchwork /latchwork
ENTRYPOINT ["/latchwork"]
CMD ["serve"]
