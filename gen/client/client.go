// Package client is the generated Go client of the System API, with models of its own so that it can be used alone.
// Change openapi.yaml and run `make generate`.
package client

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen --config=client.yaml ../../openapi.yaml
