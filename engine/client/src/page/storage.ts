/** Kept per tab, so that two tabs of one browser can be two users. */
const TOKEN = "talktime.token";
const SESSION = "talktime.session";
const DEVICES = "talktime.devices";

export const storage = {
  token: accessor(TOKEN),
  sessionId: accessor(SESSION),
  /** A session and what is switched on in it. */
  devices: accessor(DEVICES),
};

function accessor(key: string): { get: () => string | null; set: (value: string | null) => void } {
  return {
    get: () => sessionStorage.getItem(key),
    set: (value) => (value === null ? sessionStorage.removeItem(key) : sessionStorage.setItem(key, value)),
  };
}
