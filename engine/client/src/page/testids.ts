/**
 * `data-testid` values, stable for end-to-end tests.
 *
 * Sign-in: login-form, login-email, login-password, login-submit, login-error, demo-customer, demo-expert
 * Everywhere: language
 * Shell: nav-find, nav-orders, nav-desk, wallet-chip, wallet-available, wallet-held, sign-out, connection-banner, toast,
 *   ringing-banner, ringing-go
 * Catalogue: listing (data-id), presence (data-status, data-callable), tariff (data-mode), order-button (data-mode)
 * Ordering: order-dialog, order-hold, order-confirm, order-topup, order-error
 * Orders: order (data-id, data-state), call-button, call-reason, order-cancel, order-pay, order-return
 * Calling: call-dialog, direction-two-way, direction-one-way, call-start
 * Top-up: topup-open, topup-dialog, topup-amount, topup-submit, topup-pay, topup-decline, topup-result
 * Expert desk: presence-select, call-badge, incoming-call (data-id, data-alert), answer, answer-start, decline,
 *   enable-sound, earned, sale (data-id)
 * Call: call-page (data-phase, data-mode), waiting, call-cancel, start, start-audio, remote-video (data-playing),
 *   local-video, microphone, camera, direction, chat-toggle, hangup, quality (data-quality), quality-figures, meter-note,
 *   status-elapsed, status-charged, status-balance, status-earned, status-left, low-balance, paused-notice, link-notice, take-back,
 *   devices-off, devices-on, call-topup, record, recording (data-state),
 *   recording-stop, recording-dialog, recording-agree, recording-decline, recording-notice, recording-notice-close
 * Chat: chat, chat-input, chat-send, chat-message (data-own, data-seq), chat-draft, chat-retry,
 *   chat-typing, chat-read
 * End: end-screen, end-reason (data-reason), end-total, end-duration, end-earned, receipt-link, end-close
 * Past sessions: order-sessions, sessions-dialog, session-row (data-id), receipt-link
 */
export type TestId = string;
