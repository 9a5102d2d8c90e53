module github.com/latchwork/latchwork/memlock/gaelock

go 1.26.0

require (
	github.com/latchwork/latchwork v0.0.0
	google.golang.org/appengine/v2 v2.0.6
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/bradfitz/gomemcache v0.0.0-20260422231931-4d751bb6e37c // indirect
	github.com/golang/protobuf v1.5.0 // indirect
)

replace github.com/latchwork/latchwork => ../..
