package handlers_test

import (
	"fmt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	mrand "math/rand/v2"
)

func rand() string { return fmt.Sprint(mrand.Uint32()) }

var errUnavailable = status.Error(codes.Unavailable, "injected")
