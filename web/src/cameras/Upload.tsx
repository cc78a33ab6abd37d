/** Where the camera folder is. The API does not tell its path: it is nobody's business. */
export function CameraFolder() {
  return (
    <>
      the camera folder (<code>FOSCAM_BASE_PATH</code>, or else <code>data/cameras</code>)
    </>
  );
}

/** What to do so that pictures come. */
export function Upload({ folder }: { folder: string | null }) {
  return (
    <>
      <p>
        Let the camera upload into{' '}
        {folder === null ? (
          'its folder, which lies outside the camera folder of this server.'
        ) : (
          <>
            the folder <code class="camera-folder">{folder}</code> inside <CameraFolder />.
          </>
        )}
      </p>
      <p>
        Most cameras upload by FTP: run an FTP server on this machine and let it put what this
        camera sends there. Others write to a shared folder. Pictures may be JPEG, PNG, GIF, BMP or
        WebP, in subfolders too; videos need <code>ffmpeg</code> beside the server.
      </p>
    </>
  );
}
