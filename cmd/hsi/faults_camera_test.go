//go:build e2e

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// The disk of the cameras is unmounted while images wait, and comes back: an empty folder is no
// reason to believe that they were deleted. Once as an empty folder, once as a mount where that is
// allowed, behind which the cameras go on writing.
func TestFault_CameraFolderUnmounted(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	disks := w.ownNamespace("1m", reachableDir(t)) // it needs none now
	w.start()
	w.eventually("all is well", w.isWell)

	// unmounted plays the fault with images that were recorded before and not detected yet.
	unmounted := func(name string, away, meanwhile, back func()) {
		w.waitFinished()
		w.Detector.SetBehaviour(aitest.Loading())
		w.feed(12, usual)
		w.waitRecorded()
		away()
		ended := false
		defer func() {
			if !ended {
				back()
			}
		}()
		begun := time.Now()
		w.Detector.SetBehaviour(aitest.Behaviour{})
		w.eventually("it is told",
			func() bool { return w.look().workers["detection_worker"] == "waiting for the camera folder" })
		detected := time.Since(begun)
		before := w.stored() // what was read before may have been detected until now
		meanwhile()
		w.stayReady(20)
		require.Equal(w.tb, before, w.stored(), "changed while the files could not be read")
		require.Zero(w.tb,
			w.count("SELECT count(*) FROM images WHERE reason IN ('file_gone', 'replaced')"), "taken for deleted")
		begun, ended = time.Now(), true
		back()
		w.feed(4, usual)
		w.waitFinished()
		measured(w.tb, name, "images wait, none is taken for deleted", detected, time.Since(begun))
	}
	aside := w.Cameras.Root + ".aside"
	w.within("all", func() {
		unmounted("camera_folders_unmounted", func() { takeAway(w.tb, w.Cameras.Root, aside) },
			func() {}, func() { bringBack(w.tb, w.Cameras.Root, aside) })
	})
	if disks != nil {
		w.within("mount", func() {
			const noticed = "camera folder was exchanged or is gone"
			before := 0
			unmounted("camera_disk_hidden", func() {
				before = strings.Count(w.output.String(), noticed) // it may notice before the detection worker does
				disks.mount("1m", w.Cameras.Root)
			}, func() {
				w.eventually("the watcher notices",
					func() bool { return strings.Count(w.output.String(), noticed) > before })
				w.feed(8, usual) // the cameras go on writing where the server cannot see it
			}, func() { disks.unmount(w.Cameras.Root) })
		})
	}
	w.finish(0)
}
