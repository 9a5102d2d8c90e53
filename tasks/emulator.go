package tasks

import (
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// EmulatorOptions make a Google client talk to an emulator at host ("host:port"),
// without credentials. They are nil for an empty host, so that one call serves
// both worlds:
//
//	cloudtasks.NewClient(ctx, tasks.EmulatorOptions(os.Getenv("CLOUD_TASKS_EMULATOR_HOST"))...)
//
// The Cloud Tasks client, unlike Datastore's, reads no variable by itself.
func EmulatorOptions(host string) []option.ClientOption {
	if host == "" {
		return nil
	}
	return []option.ClientOption{
		option.WithEndpoint("passthrough:///" + host),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCConnectionPool(1),
	}
}
