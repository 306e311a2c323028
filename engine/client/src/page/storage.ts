/** Kept per tab, so that two tabs of one browser can be two users; the language is the browser's. */
const TOKEN = "talktime.token";
const SESSION = "talktime.session";
const DEVICES = "talktime.devices";
const LANGUAGE = "talktime.language";

export const storage = {
  token: accessor(TOKEN),
  sessionId: accessor(SESSION),
  /** A session and what is switched on in it. */
  devices: accessor(DEVICES),
  /** What was chosen by hand; null: the account or the browser says it. */
  language: accessor(LANGUAGE, () => localStorage),
};

interface Accessor {
  get: () => string | null;
  set: (value: string | null) => void;
}

function accessor(key: string, place: () => Storage = () => sessionStorage): Accessor {
  return {
    get: () => place().getItem(key),
    set: (value) => (value === null ? place().removeItem(key) : place().setItem(key, value)),
  };
}
