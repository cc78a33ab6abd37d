package server

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewKeys_RefusesWhatIsNoHash(t *testing.T) {
	t.Parallel()
	k, err := newKeys(true, []string{"plain", hashPrefix + strings.Repeat("0a", 32), hashPrefix + strings.Repeat("0A", 32)})
	require.NoError(t, err)
	require.Len(t, k.hashes, 3)
	require.Equal(t, k.hashes[1], k.hashes[2], "digits of either case")
	for _, digits := range []string{"", "0a", strings.Repeat("0a", 31), strings.Repeat("0a", 33), strings.Repeat("0a", 31) + "0", strings.Repeat("0x", 32)} {
		_, err := newKeys(true, []string{"plain", hashPrefix + digits})
		require.ErrorContains(t, err, "key 2: sha256: must be followed by 64 hexadecimal digits", digits)
	}
	_, err = newKeys(false, nil)
	require.NoError(t, err)
	_, err = newKeys(true, nil)
	require.ErrorContains(t, err, "there is no key")
	_, err = newKeys(false, []string{"", hashPrefix})
	require.ErrorContains(t, err, "key 1 is empty")
	require.ErrorContains(t, err, "key 2: sha256")
}
