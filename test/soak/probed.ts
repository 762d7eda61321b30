/** Beginning of a line that the probe prints. */
export const PROBED = 'soak '
