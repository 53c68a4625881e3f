// The camera, where the browser has one to offer: over https, and on this machine itself.
//
//   if (hasCamera()) { const camera = await openCamera(video); camera.picture(); camera.close(); }

import { t } from "./i18n.js";
import { toDataUrl } from "./picture.js";

export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

// Shows what the camera sees in a video element; throws an error with a text for people.
export async function openCamera(video) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: "environment", width: { ideal: 1280 } } });
  } catch (error) {
    throw new Error(t({ NotAllowedError: "camera.refused", NotFoundError: "camera.none" }[error.name] ?? "camera.busy"));
  }
  const close = () => {
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  };
  try {
    video.srcObject = stream;
    await video.play();
  } catch {
    close();
    throw new Error(t("camera.busy"));
  }
  return { close, picture: () => toDataUrl(video, video.videoWidth, video.videoHeight) };
}
