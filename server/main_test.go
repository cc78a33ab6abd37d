package server

import (
	"testing"

	"hsi.home.arpa/server/contracttest"
)

func TestMain(m *testing.M) { contracttest.Main(m) }
