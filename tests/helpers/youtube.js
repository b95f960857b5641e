// A fake of YouTube's IFrame API with the methods that the watch party uses. The player shows nothing.
window.YT = {
  PlayerState: { UNSTARTED: -1, ENDED: 0, PLAYING: 1, PAUSED: 2, BUFFERING: 3, CUED: 5 },
  Player: class {
    constructor(target, options) {
      this.options = options;
      this.at = 0;
      this.state = 5;
      this.rate = 1;
      this.frame = document.createElement("iframe");
      this.frame.title = options.videoId;
      target.replaceWith(this.frame);
      window.youTubePlayer = this;
      if (!window.youTubeIsNeverReady) setTimeout(() => options.events.onReady({ target: this }), 50);
    }

    getCurrentTime() {
      return this.at + (this.state === 1 ? ((performance.now() - this.since) / 1000) * this.rate : 0);
    }

    getDuration() {
      return 213;
    }

    getPlayerState() {
      return this.state;
    }

    become(state, at) {
      this.at = at;
      this.since = performance.now();
      this.state = state;
      this.options.events.onStateChange({ target: this, data: state });
    }

    playVideo() {
      if (this.state === 1) return;
      this.become(3, this.getCurrentTime()); // a real player buffers first
      setTimeout(() => this.state === 3 && this.become(1, this.at), 200);
    }

    pauseVideo() {
      this.become(2, this.getCurrentTime());
    }

    seekTo(seconds) {
      this.become(this.state, seconds);
    }

    setPlaybackRate(rate) {
      this.at = this.getCurrentTime();
      this.since = performance.now();
      this.rate = rate;
    }

    mute() {
      this.volume = 0;
    }

    unMute() {}

    setVolume(volume) {
      this.volume = volume;
    }

    destroy() {
      this.frame.remove();
    }
  },
};
window.onYouTubeIframeAPIReady();
