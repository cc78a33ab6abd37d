// Package gen is generated from openapi.yaml: wire types, the strict Echo server interface and the embedded spec.
// Only server/ and the tests may import it; it imports nothing of ours. Change openapi.yaml and run `make generate`.
package gen

import _ "embed" // for SpecYAML

// SpecYAML is openapi.yaml as it was written, with its comments and order. It must not be changed.
//
//go:embed openapi.yaml
var SpecYAML []byte

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen --config=types.yaml ../openapi.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen --config=server.yaml ../openapi.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen --config=spec.yaml ../openapi.yaml
//go:generate cp ../openapi.yaml openapi.yaml
