/**
 * Bytes that all sessions of this process have sent. A call is encoded and handed to its channel before it returns, so the difference before
 * and after is the size of that call; nothing else tells a caller.
 */
export const traffic: { sentBytes: number } = { sentBytes: 0 };
