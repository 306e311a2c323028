import { type Language, setLanguage } from "./language";
import { en, type SharedWords } from "./words/en";
import { fa } from "./words/fa";
import { tr } from "./words/tr";

/** What only the call page says, in one place: English. */
const callPage = {
  product: "Talktime",
  tagline: "Talk to an expert, pay for the time you talk.",

  nav: { label: "Main", find: "Experts", orders: "My orders", desk: "Desk" },

  presenceHints: {
    available: "Calls ring with sound.",
    away: "Calls only show a red badge, without sound.",
    busy: "Customers cannot call you.",
    undefined: "Customers cannot call you.",
  },

  modes: { video: "Video call", audio: "Audio call", text: "Text chat" },

  find: {
    title: "Find an expert",
    intro: "Order a consultation, call when the expert is available, and pay step by step while you talk.",
    empty: "No consultations are offered at the moment.",
    order: "Order",
    orderLabel: (mode: string, title: string) => `Order ${mode.toLowerCase()}: ${title}`,
    yourOrder: "You have an open order",
    languages: "Speaks",
  },

  order: {
    title: "Confirm your order",
    expert: "Expert",
    price: "Price",
    hold: "Put on hold now",
    holdHint: (duration: string) =>
      `Pays the first ${duration}. Whatever you have not used comes back when you cancel the order.`,
    available: "Your balance",
    missing: "Still needed",
    confirm: "Confirm order",
    topUpAndOrder: (money: string) => `Top up ${money} and order`,
    done: "Order confirmed. You can call whenever the expert is available.",
    number: (number: string) => `Order ${number}`,
  },

  orders: {
    title: "My orders",
    empty: "You have no orders yet.",
    emptyHint: "Choose an expert, order a consultation and call.",
    held: "On hold",
    captured: "Paid so far",
    sessions: "Sessions",
    call: "Call",
    startChat: "Start chat",
    backToCall: "Return to the call",
    pay: "Pay now",
    cancel: "Cancel order",
    cancelTitle: "Cancel this order?",
    cancelText: (money: string) => `${money} on hold will return to your balance.`,
    cancelPlain: "Nothing has been paid for this order.",
    cancelled: "The order is cancelled.",
    keep: "Keep order",
    states: {
      pending_payment: "Waiting for payment",
      open: "Open",
      delivered: "Delivered",
      completed: "Completed",
      cancelled: "Cancelled",
      disputed: "Disputed",
    } as Record<string, string>,
    reasons: {
      pending_payment: "Pay the order first.",
      expert_offline: "The expert is not on the site right now.",
      expert_busy: "The expert is busy.",
      expert_undefined: "The expert is not taking calls right now.",
      closed: "This order is closed.",
      not_now: "A call is not possible right now.",
      ready: "The expert is available.",
      ready_away: "The expert is away and may answer later.",
    },
  },

  call: {
    dialogTitle: (name: string) => `Call ${name}`,
    direction: "How do you want to talk?",
    twoWay: "Both ways",
    twoWayHint: "You see and hear each other. Your camera and microphone stay off until you switch them on.",
    oneWay: "One way",
    oneWayHint: "You see and hear the expert; the expert cannot see or hear you. The price is the same.",
    start: "Call now",
    waiting: (name: string) => `Waiting for ${name} to answer…`,
    waitingHint: "Nothing is charged while it rings.",
    cancel: "Stop calling",
    connectingCustomer: (name: string) => `${name} has answered`,
    connectingCustomerHint: "The clock starts when the expert's picture or voice reaches you.",
    readyTitle: (name: string) => `${name} is waiting`,
    readyHint:
      "Your camera and microphone go on when you start. The customer's clock runs from the first picture or sound that reaches them.",
    readyHintAudio:
      "Your microphone goes on when you start. The customer's clock runs from the first sound that reaches them.",
    startButton: "Start",
    startAudio: "Start without camera",
    microphone: "Mic",
    camera: "Camera",
    chat: "Chat",
    hangup: "End",
    hangupLabel: "End the session",
    makeTwoWay: "Let the expert see and hear me",
    makeOneWay: "Stop letting the expert see and hear me",
    oneWayChip: "One way: the expert cannot see or hear you",
    oneWayChipExpert: "One way: you cannot see or hear the customer",
    oneWayFirst: "Not in a one-way call",
    remoteCameraOff: (name: string) => `${name}'s camera is off`,
    pictureComing: "The picture is on its way…",
    remoteAway: (name: string) => `${name} lost the connection…`,
    remoteVideo: (name: string) => `Video of ${name}`,
    you: "You",
    connected: (name: string) => `You are connected with ${name}.`,
    waitingCalls: (count: number) => `${count} waiting`,
    quality: {
      label: {
        unknown: "Connection: measuring",
        good: "Connection: good",
        fair: "Connection: fair",
        poor: "Connection: poor",
      },
      advice: "Try moving closer to your router or switching the camera off.",
      own: "Yours",
      other: (name: string) => name,
      up: "Sending",
      down: "Receiving",
      rtt: "Round trip",
      frozen: "Picture frozen",
      level: { unknown: "measuring", good: "good", fair: "fair", poor: "poor" },
      nothing: "nothing",
      loss: (percent: string) => `${percent} % lost`,
      jitter: (ms: number) => `jitter ${ms} ms`,
    },
    notices: "Notices of the call",
    interrupted: "Connection trouble. Trying to recover…",
    displaced: "This call goes on in another tab or on another device.",
    takeBack: "Continue here",
    silent: "Your camera and microphone are off: nothing reaches the customer and the clock stands still.",
    speak: "Switch on",
    tapToPlay: "Tap to hear the other side",
  },

  recording: {
    label: "Recording",
    record: "Record",
    recordHint: "Ask to record this call",
    running: "This call is being recorded.",
    waiting: (name: string) => `Waiting for ${name} to agree to the recording…`,
    title: "Record this call?",
    asks: (name: string) => `${name} asks to record this call.`,
    asksHint:
      "The recording is kept for the case of a dispute. Nothing is recorded unless you agree, and either of you can stop it at any time. The call goes on whatever you answer.",
    agree: "Agree",
    decline: "Do not record",
    stop: "Stop recording",
    withdraw: "Take back",
    noticeClose: "Close this notice",
    declined: (name: string) => `${name} does not want this call to be recorded. Nothing is recorded.`,
    withdrew: (name: string) => `${name} no longer asks to record this call. Nothing is recorded.`,
    stopped: (name: string) => `${name} stopped the recording. Nothing more is recorded.`,
    youDeclined: "You did not agree. Nothing is recorded.",
    youWithdrew: "You no longer ask. Nothing is recorded.",
    youStopped: "You stopped the recording. Nothing more is recorded.",
    reasons: {
      unavailable:
        "The recording could not begin: the service cannot save it at the moment. The call goes on.",
      disk_full:
        "The recording ended: there is no space left for it. Nothing more is recorded, the call goes on.",
      too_long:
        "The recording ended: it has reached the longest time allowed. Nothing more is recorded, the call goes on.",
      too_slow: "The recording ended: saving it took too long. Nothing more is recorded, the call goes on.",
      interrupted:
        "The recording was interrupted. Nothing more is recorded; to go on, one of you asks and the other agrees again.",
      failed: "The recording ended because of a problem. Nothing more is recorded, the call goes on.",
    },
  },

  meter: {
    label: "Session meter",
    elapsed: "Time",
    charged: "Charged",
    balance: "Balance",
    earned: "Earned",
    left: "Time left",
    unlimited: "–",
    idle: "Nothing is charged yet",
    armed: "The clock starts with the first picture or sound",
    armedText: "The clock starts with your second message",
    armedTextExpert: "The clock starts with the customer's second message",
    grace: (clock: string) => `Free for another ${clock}`,
    graceExpert: (clock: string) => `Free minute, ${clock} left`,
    paused: "The clock stands still",
    next: (clock: string) => `Next charge in ${clock}`,
    started: "The clock is running.",
    lowBalance: (clock: string) => `Your money lasts for another ${clock}.`,
    lowBalanceTopUp: (money: string) => `Top up at least ${money} to go on after that.`,
    pausedTitle: "The clock stands still",
    pausedNoMedia: "No picture or sound is arriving. This time is not charged.",
    pausedDisconnected: "A connection was lost. This time is not charged.",
    resumed: "Connected again, the clock is running.",
    topUp: "Top up",
  },

  chat: {
    title: "Chat",
    empty: "No messages yet.",
    emptyText: "Say hello: the first message is free, the clock starts with the second.",
    emptyTextExpert: "The clock starts with the customer's second message.",
    placeholder: "Write a message",
    send: "Send",
    sending: "Sending…",
    failed: "Not sent",
    read: "Read",
    typing: (name: string) => `${name} is writing…`,
    more: "Show earlier messages",
    system: "Talktime",
    unread: (count: number) => `${count} unread`,
  },

  desk: {
    title: "Expert desk",
    presence: "Your status",
    earned: "Earned",
    calls: "Calls right now",
    callsLabel: (count: number) => (count === 1 ? "1 call is ringing" : `${count} calls are ringing`),
    noCalls: "No calls right now.",
    noCallsHint: "Keep this page open while you are available: calls appear here.",
    incoming: (name: string) => `${name} is calling`,
    goTo: "To the desk",
    answer: "Answer",
    answerStart: "Answer and start",
    decline: "Decline",
    sales: "My sales",
    noSales: "No sales yet.",
    enableSound: "Turn on the ringing sound",
    missed: (name: string) => `You missed a call from ${name}.`,
    elsewhere: "Answered on another device.",
    documentTitle: (count: number) => `(${count}) Incoming call`,
  },

  end: {
    titles: {
      completed: "Session ended",
      void: "This session was free",
      insufficient_funds: "The balance ran out",
      disconnected: "The connection was lost",
      failed: "The call could not be connected",
      idle: "The chat ended after a long silence",
      terminated: "The session was ended by the service",
      server_restart: "The service had to restart",
      no_answer: "No answer",
      declined: "The call was declined",
      canceled: "The call was cancelled",
    },
    texts: {
      completed: "Thank you. Your receipt is ready.",
      void: "It ended within the free time at the start, so no money was moved. The prepaid amount stays on the order.",
      insufficient_funds:
        "The session stopped at the last paid second. Top up and call again whenever you like.",
      disconnected:
        "The session ended because a connection did not come back. Only the time served was charged.",
      failed: "No picture or sound got through, so nothing was charged.",
      idle: "Nobody wrote for a while, so the session was closed.",
      terminated: "Staff of the service closed this session. Only the time served was charged.",
      server_restart: "The session ended with it. Only the time served was charged.",
      no_answer: "The expert did not answer in time. Nothing was charged.",
      declined: "The expert cannot take the call now. Nothing was charged.",
      canceled: "The call was stopped before it was answered. Nothing was charged.",
    },
    by: {
      you: "You ended it",
      customer: "Ended by the customer",
      expert: "Ended by the expert",
      system: "Ended by the system",
      staff: "Ended by the staff",
    },
    duration: "Billed time",
    blocks: (count: number) => (count === 1 ? "1 block" : `${count} blocks`),
    total: "Total",
    earned: "You earned",
    receipt: "Show receipt",
    done: "Done",
    again: "Top up",
  },

  sessions: {
    button: "Sessions and receipts",
    title: "Sessions",
    empty: "No sessions yet.",
    free: "Free",
    receipt: "Receipt",
    running: "Running",
  },
};

const TABLES: Record<Language, SharedWords> = { en, tr, fa };

/** The words of the language that is spoken now; `speak` puts another table in their place. */
export let t = { ...callPage, ...en };

/** Words and formats of `code` from now on; what is drawn already stays as it is. */
export function speak(code: Language): void {
  setLanguage(code);
  t = { ...callPage, ...TABLES[code] };
}

type Table = Readonly<Record<string, string>>;

/** A word by a key that the server named, if there is one. */
export function wordFor(table: Table, key: string): string | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** The same; a key that is new to us is shown as it is. */
export function word(table: Table, key: string): string {
  return wordFor(table, key) ?? key;
}
