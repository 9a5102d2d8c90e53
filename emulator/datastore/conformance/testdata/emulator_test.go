// This file is copied into the module cloud.google.com/go/datastore: it hands
// the integration tests there a client of the emulator that
// DATASTORE_EMULATOR_HOST names, which needs no credentials.
package datastore

import (
	"context"
	"testing"

	"cloud.google.com/go/internal/testutil"
	"google.golang.org/api/option"
)

func init() {
	newTestClient = func(ctx context.Context, t *testing.T, opts ...option.ClientOption) *Client {
		headers := &testutil.HeadersEnforcer{
			OnFailure: t.Fatalf,
			Checkers:  []*testutil.HeaderChecker{testutil.XGoogClientHeaderChecker, xGoogReqParamsHeaderChecker},
		}
		client, err := NewClientWithDatabase(ctx, testutil.ProjID(), testParams["databaseID"].(string),
			append(opts, headers.CallOptions()...)...)
		if err != nil {
			t.Fatalf("NewClientWithDatabase: %v", err)
		}
		return client
	}
}
