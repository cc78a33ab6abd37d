package store_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
)

// base is a time with microseconds, far from any time zone's midnight.
func base() time.Time { return time.Date(2026, 3, 14, 15, 9, 26, 535898000, time.UTC) }

// newImage is a picture that passed intake. Its bytes are told apart by the path.
func newImage(cameraID, path string) store.NewImage {
	return store.NewImage{
		ImageKey: store.ImageKey{CameraID: cameraID, FilePath: path, SizeBytes: 1000, ModTime: base()},
		SHA256:   hash(path), State: store.ImageSeen,
	}
}

// hash stands for the SHA-256 of a content.
func hash(content string) string {
	hex := fmt.Sprintf("%x", content)
	if len(hex) > 64 {
		return hex[len(hex)-64:]
	}
	return strings.Repeat("0", 64-len(hex)) + hex
}

func addCamera(t *testing.T, db *store.DB, ids ...string) {
	t.Helper()
	for _, id := range ids {
		require.NoError(t, db.EnsureCamera(t.Context(), store.Camera{ID: id, Name: strings.ToUpper(id), FolderPath: "/cameras/" + id}))
	}
}

func record(t *testing.T, db *store.DB, img store.NewImage) store.RecordedImage {
	t.Helper()
	recorded, err := db.RecordImage(t.Context(), img)
	require.NoError(t, err)
	return recorded
}

// relay makes a server, which listens on a socket only, reachable on a port of 127.0.0.1.
type relay struct {
	port         int
	socket       string
	certificates []tls.Certificate // offers TLS
	encrypted    atomic.Int64      // sessions that took it
	mute         atomic.Bool       // new sessions get no answer
	muted        chan struct{}     // receives one value for each of those
}

func startRelay(t *testing.T, databaseURL string, certificates []tls.Certificate) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{
		port:         listener.Addr().(*net.TCPAddr).Port,
		socket:       filepath.Join(parse(t, databaseURL).Query().Get("host"), ".s.PGSQL.5432"),
		certificates: certificates,
		muted:        make(chan struct{}, 100),
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { r.serve(client) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		sessions.Wait()
	})
	return r
}

// serve passes one session on. Errors end it; the test sees them at the client's side.
func (r *relay) serve(client net.Conn) {
	defer client.Close()
	if r.mute.Load() {
		r.muted <- struct{}{}
		_, _ = io.Copy(io.Discard, client)
		return
	}
	if r.certificates != nil {
		if _, err := io.ReadFull(client, make([]byte, 8)); err != nil { // the request for TLS
			return
		}
		if _, err := client.Write([]byte{'S'}); err != nil {
			return
		}
		r.encrypted.Add(1)
		client = tls.Server(client, &tls.Config{Certificates: r.certificates, MinVersion: tls.VersionTLS12})
	}
	server, err := net.Dial("unix", r.socket)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			done <- struct{}{}
		}()
	}
	<-done
	_, _ = client.Close(), server.Close()
	<-done
}

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}

func isClaimLost(err error) bool { return errors.Is(err, store.ErrClaimLost) }
