package live_test

import (
	"testing"

	"hsi.home.arpa/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }
